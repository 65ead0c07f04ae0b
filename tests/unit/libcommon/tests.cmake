# One line per test of libcommon: hanabi_unit_test(libcommon/test_X libcommon)
# These start real servers of their own: real_server.h.
foreach(name redis_link subscriber lease failover db)
    if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c)
        hanabi_unit_test(libcommon/test_${name} libcommon)
        target_sources(libcommon_test_${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/real_server.c ${CMAKE_CURRENT_LIST_DIR}/proxy.c)
    endif()
endforeach()
hanabi_unit_test(libcommon/test_http_server libcommon)

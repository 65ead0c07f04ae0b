hanabi_unit_test(services/chat/test_settings_memory chat_parts)
hanabi_unit_test(services/chat/test_thinning chat_parts)
hanabi_unit_test(services/chat/test_message chat_parts)
if(TARGET services_chat_test_message)
    set_tests_properties(services/chat/test_message PROPERTIES LABELS threads)
endif()

hanabi_fuzz_target(chat_message proto)

hanabi_unit_test(proto/test_segment_entry proto)
hanabi_unit_test(proto/test_broadcast proto)
hanabi_unit_test(proto/test_setting proto)

hanabi_unit_test(services/live-api/test_stream_key live_api_parts)
hanabi_unit_test(services/live-api/test_broadcast_view live_api_parts)

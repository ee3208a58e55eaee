"""The sanitized lane: native.c under AddressSanitizer, LeakSanitizer and UBSan."""

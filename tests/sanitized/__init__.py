# SPDX-License-Identifier: MIT
"""The sanitized lane: native.c and aio.c under AddressSanitizer, LeakSanitizer and UBSan."""

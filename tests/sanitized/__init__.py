# SPDX-License-Identifier: MIT
"""The sanitized lane: the C of the compiled module under AddressSanitizer, LeakSanitizer and UBSan."""

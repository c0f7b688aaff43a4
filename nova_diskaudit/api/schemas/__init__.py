# SPDX-License-Identifier: Apache-2.0
"""The words of questions and answers: msgspec structs, of which the OpenAPI document is made."""

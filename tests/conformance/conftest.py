"""Failed assertions of the inherited suite are explained like those of a test module."""

import pytest

pytest.register_assert_rewrite("tests.conformance.model_contract")

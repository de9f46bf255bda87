import subprocess
import sys

CODE = """
import sys
from harness.core.lean_transformers import import_generation
import_generation()
from transformers import AutoTokenizer, LlamaForCausalLM, utils
print("sklearn" in sys.modules, utils.is_sklearn_available())
"""


def test_a_policy_is_loaded_without_scikit_learn_which_stays_available():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]

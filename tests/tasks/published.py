"""A row of each published form of tasks, written by hand after the forms' documentation: name → rows.

`WRONG` has a program for the first row's task that must fail, so that a form whose tests were lost is noticed.
"""

import base64
import json
import pickle
import zlib

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def add(a: int, b: int) -> int:\n    """Add two numbers.\n    >>> add(1, 2)\n    3\n    """\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "\n\nMETADATA = {'author': 'jt'}\n\n\ndef check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(0, 0) == 0\n",
}
PLUS_LOOP = (
    "\nimport numpy as np\n\ndef is_floats(x) -> bool:\n    return isinstance(x, float)\n\n"
    "def assertion(out, exp, atol):\n    exact_match = out == exp\n    if atol == 0 and is_floats(exp):\n        atol = 1e-6\n"
    "    if not exact_match and atol != 0:\n        np.testing.assert_allclose(out, exp, atol=atol)\n    else:\n        assert exact_match\n\n"
)
LCB_PRIVATE = base64.b64encode(
    zlib.compress(
        pickle.dumps(json.dumps([{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}]))
    )
).decode()

ROWS = {
    "mbpp": [
        {  # sanitized-mbpp.json, which is one list
            "source_file": "Benchmark Questions Verification V2.ipynb",
            "task_id": 2,
            "prompt": "Write a function to add.",
            "code": "def add(a, b):\n  return a + b",
            "test_imports": ["import math"],
            "test_list": ["assert add(1, 2) == 3", "assert add(math.floor(1.5), 1) == 2"],
        }
    ],
    "mbppplus": [
        {
            "task_id": 3,
            "code": "\ndef add(a, b):\n  return a + b",
            "prompt": "Write a function to add.",
            "source_file": "Benchmark Questions Verification V2.ipynb",
            "test_imports": [],
            "test_list": ["assert add(1, 2) == 3"],
            "test": PLUS_LOOP
            + "inputs = [[1, 2], [5, -5]]\nresults = [3, 0]\n"
            + "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(add(*inp), exp, 0)\n",
        }
    ],
    "humaneval": [
        HUMANEVAL,
        HUMANEVAL
        | {  # the hub's evalplus/humanevalplus
            "task_id": "HumanEval/1",
            "test": PLUS_LOOP
            + "def check(candidate):\n    inputs = [[1, 2], [5, -5]]\n    results = [3, 0]\n"
            + "    for i, (inp, exp) in enumerate(zip(inputs, results)):\n        assertion(candidate(*inp), exp, 0)\n",
        },
    ],
    "evalplus": [
        HUMANEVAL
        | {
            "contract": "\n    assert type(a) == int\n",
            "base_input": [[1, 2], [0, 0]],
            "plus_input": [[100, -100], [7, 7]],
            "atol": 0,
        },
        {
            "task_id": "Mbpp/2",
            "prompt": '"""\nWrite a function to find the shared elements.\nassert set(similar_elements((3, 4),(5, 4))) == set((4,))\n"""\n',
            "entry_point": "similar_elements",
            "canonical_solution": "\ndef similar_elements(test_tup1, test_tup2):\n  return tuple(set(test_tup1) & set(test_tup2))\n",
            "base_input": [[[3, 4], [5, 4]]],
            "plus_input": [[[1, 2, 3], [3, 2]], [[], []]],
            "atol": 0,
            "contract": "\n  assert isinstance(test_tup1, tuple)\n",
            "assertion": "assert set(similar_elements((3, 4),(5, 4))) == set((4,))",
        },
        {
            "task_id": "HumanEval/32",
            "prompt": 'import math\n\n\ndef poly(xs: list, x: float):\n    return sum([coeff * math.pow(x, i) for i, coeff in enumerate(xs)])\n\n\ndef find_zero(xs: list):\n    """Find a zero of the polynomial xs."""\n',
            "entry_point": "find_zero",
            "canonical_solution": "    return -xs[0] / xs[1]\n",
            "base_input": [[[1, 2]]],
            "plus_input": [[[-6, 11]]],
            "atol": 1e-4,
            "contract": "",
        },
        {
            "task_id": "Mbpp/124",
            "prompt": '"""\nWrite a function to get the angle of a complex number.\nassert math.isclose(angle_complex(0,1j), 1.57, rel_tol=0.01)\n"""\n',
            "entry_point": "angle_complex",
            "canonical_solution": "import cmath\ndef angle_complex(a, b):\n  return cmath.phase(a + b)\n",
            "base_input": [["0", "1j"]],
            "plus_input": [["-1.0", "(-0+1j)"]],
            "atol": 0,
            "contract": "",
            "assertion": "import math\nassert math.isclose(angle_complex(0,1j), 1.57, rel_tol=0.01)",
        },
    ],
    "evoeval": [
        {
            "task_id": "EvoEval/0",
            "prompt": 'def halve(numbers):\n    """Half of each number."""\n',
            "entry_point": "halve",
            "canonical_solution": "    return [n / 2 for n in numbers]\n",
            "inputs": ["[1.5, 3]", "[]"],
            "parent": "HumanEval/0",
        }
    ],
    "bigcodebench": [
        {
            "task_id": "BigCodeBench/0",
            "complete_prompt": 'import itertools\n\ndef task_func(numbers=list(range(1, 3))):\n    """\n    Sum of all permutations\' sums.\n\n    Requirements:\n    - itertools\n    """\n',
            "instruct_prompt": "Sum of all permutations' sums.\nYou should write self-contained code starting with: …",
            "canonical_solution": "    return sum(sum(p) for p in itertools.permutations(numbers))",
            "code_prompt": "import itertools\ndef task_func(numbers=list(range(1, 3))):\n",
            "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_default(self):\n        self.assertEqual(task_func(), 6)\n    def test_empty(self):\n        self.assertEqual(task_func([]), 0)\nif __name__ == '__main__':\n    unittest.main()\n",
            "entry_point": "task_func",
            "doc_struct": '{"description": []}',
            "libs": "['itertools']",
        }
    ],
    "multipl-e": [
        {
            "name": "HumanEval_0_add",
            "language": "py",
            "prompt": 'from typing import List\n\ndef add(a: int, b: int) -> int:\n    """ Add two numbers.\n    """\n',
            "doctests": "transform",
            "original": "/humaneval/HumanEval_0.py",
            "prompt_terminology": "reworded",
            "tests": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(0, 0) == 0\n\ndef test_check():\n    check(add)\n\ntest_check()\n",
            "stop_tokens": ["\ndef", "\n#", "\nif", "\nclass"],
        }
    ],
    "apps": [
        {
            "problem_id": 4,
            "question": "You are given two numbers. Add them.",
            "solutions": json.dumps(["class Solution:\n    def add(self, a, b):\n        return a + b\n"]),
            "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, [7]]}),
            "difficulty": "introductory",
            "url": "https://leetcode.example/add",
            "starter_code": "\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n        ",
        },
        {
            "problem_id": 0,
            "question": "Add the numbers of a line.",
            "solutions": json.dumps(
                ["print sum(map(int, raw_input().split()))", "print(sum(map(int, input().split())))"]
            ),
            "input_output": json.dumps({"inputs": ["1 2\n", ["3 4"]], "outputs": ["3\n", ["7"]]}),
            "difficulty": "interview",
            "url": "https://contest.example/0",
            "starter_code": "",
        },
    ],
    "codecontests": [
        {
            "name": "1575_A. Add",
            "description": "Add two numbers.",
            "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
            "private_tests": {"input": ["5 -5\n"], "output": ["0\n"]},
            "generated_tests": {"input": ["1 2\n", "9 9\n"], "output": ["3\n", "18\n"]},
            "source": 2,
            "difficulty": 7,
            "solutions": {
                "language": [2, 3, 3],
                "solution": [
                    "int main() {}",
                    "print raw_input()",
                    "a, b = map(int, input().split())\nprint(a + b)",
                ],
            },
            "incorrect_solutions": {"language": [], "solution": []},
            "cf_contest_id": 1575,
            "cf_index": "A",
            "cf_points": 0.0,
            "cf_rating": 1100,
            "cf_tags": ["math", ""],
            "is_description_translated": False,
            "untranslated_description": "",
            "time_limit": {"seconds": 2, "nanos": 0},
            "memory_limit_bytes": 256000000,
            "input_file": "",
            "output_file": "",
        }
    ],
    "livecodebench": [
        {
            "question_title": "shift",
            "question_content": "Add k to each number.",
            "platform": "leetcode",
            "question_id": "2847",
            "contest_id": "weekly-contest-354",
            "contest_date": "2023-07-15T00:00:00",
            "starter_code": "class Solution:\n    def shift(self, nums: List[int], k: int) -> List[int]:\n        ",
            "difficulty": "easy",
            "public_test_cases": json.dumps(
                [{"input": "[1, 2]\n1", "output": "[2, 3]", "testtype": "functional"}]
            ),
            "private_test_cases": LCB_PRIVATE,
            "metadata": json.dumps({"func_name": "shift"}),
        },
        {
            "question_title": "A. Twice",
            "question_content": "Print twice the number.",
            "platform": "atcoder",
            "question_id": "abc301_a",
            "starter_code": "",
            "difficulty": "easy",
            "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
            "private_test_cases": "[]",
            "metadata": "{}",
        },
    ],
    "answers": [
        {"question": "Two and two?", "answer": "Add them.\n#### 1,004"},
        {  # verifiers and TRL
            "example_id": 7,
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Capital of France?"},
            ],
            "answer": "Paris",
            "task": "default",
            "info": {},
        },
        {"prompt": "3 + 4?", "solution": "7"},
    ],
}

REFERENCES = {
    "multipl-e": "def add(a, b):\n    return a + b\n",
    "livecodebench": "class Solution:\n    def shift(self, nums, k):\n        return [n + k for n in nums]\n",
    "livecodebench/abc301_a": "print(2 * int(input()))\n",
}
"""Programs that pass the first row's tests, for forms that publish none."""

WRONG = {
    "mbpp": "def add(a, b):\n    return 3\n",
    "mbppplus": "def add(a, b):\n    return 3\n",  # passes test_list
    "humaneval": "def add(a, b):\n    return 3\n",
    "evalplus": "def add(a, b):\n    return {3: 3, 14: 14}.get(a + b, 0) if a != 100 else 1\n",  # passes base_input
    "evoeval": "def halve(numbers):\n    return [n // 2 for n in numbers]\n",
    "bigcodebench": "def task_func(numbers=[1, 2]):\n    return 6\n",
    "multipl-e": "def add(a, b):\n    return 3\n",
    "apps": "class Solution:\n    def add(self, a, b):\n        return 3\n",
    "codecontests": "a, b = map(int, input().split())\nprint(3 if a == 1 else 0)\n",
    "livecodebench": "class Solution:\n    def shift(self, nums, k):\n        return [n + 1 for n in nums]\n",
    "answers": "1005",
}

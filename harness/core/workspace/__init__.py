"""The one reader and writer of a workspace's own files: run records, logs, results, verdicts.

<workspace>/train/<run>/run.json                       a run: its config and its policies
<workspace>/stages/<stage>/                            stages, see `harness.core.stages`
<workspace>/verdicts.sqlite                            every verdict ever given
<workspace>/results/<benchmark>/<label>.json           a result, written last
<workspace>/results/<benchmark>/<label>~<digits>.json  another of the same label
<workspace>/results/<benchmark>/<label>/items.json     one row a prompt
<workspace>/results/<benchmark>/<label>/graded.json    prompts, answers, verdicts, replies
<workspace>/results/<benchmark>/<label>/...            the same in the protocol's formats
<workspace>/results/bridge/*.json                      comparisons of two judges
<workspace>/arenas/<name>.json                         an arena: every comparison, and its analysis
"""

from harness.core.workspace.integrity import (
    changed_message,
    check_file,
    check_record,
    record_sum,
    with_sum,
)
from harness.core.workspace.result_files import (
    content_differences,
    file_of,
    result_path,
    write_files,
    write_result,
)
from harness.core.workspace.results import (
    GRADED_FILE,
    ITEMS_FILE,
    RESULT_SCHEMA,
    Item,
    Result,
    bridge_directory,
    check_files,
    damaged_items,
    damaged_result,
    graded_path,
    items_path,
    read_bridge,
    read_graded,
    read_items,
    read_result,
    result_paths,
)
from harness.core.workspace.runs import (
    LOG_FILE,
    LOGPS_FILE,
    Run,
    Workspace,
    read_log,
    read_logps,
    read_run,
    read_runs,
    run_directory,
    run_names,
    write_run,
)

__all__ = [
    "GRADED_FILE",
    "ITEMS_FILE",
    "LOGPS_FILE",
    "LOG_FILE",
    "RESULT_SCHEMA",
    "Item",
    "Result",
    "Run",
    "Workspace",
    "bridge_directory",
    "changed_message",
    "check_file",
    "check_files",
    "check_record",
    "content_differences",
    "damaged_items",
    "damaged_result",
    "file_of",
    "graded_path",
    "items_path",
    "read_bridge",
    "read_graded",
    "read_items",
    "read_log",
    "read_logps",
    "read_result",
    "read_run",
    "read_runs",
    "record_sum",
    "result_path",
    "result_paths",
    "run_directory",
    "run_names",
    "with_sum",
    "write_files",
    "write_result",
    "write_run",
]

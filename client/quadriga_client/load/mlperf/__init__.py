"""MLPerf Inference's scenarios by its official load generator, mlcommons-loadgen, on any server.

    settings.py   what shapes a run, and what is refused                                     pure
    scenario.py   one run, from its settings to its verdict                                  the command's process
    process.py      the load generator, and how its settings are found                       a process of its own
    system.py         what it calls its system under test: samples out, answers in           its second thread
    summary.py      what its summary says                                                    pure

The load generator is C++ that cannot be interrupted, hence the process: Ctrl-C kills it, and a crash of it is an error
like others.
"""

from quadriga_client.load.mlperf.scenario import run_scenario
from quadriga_client.load.mlperf.settings import SCENARIOS, MlperfSettings, Scenario

__all__ = ["SCENARIOS", "MlperfSettings", "Scenario", "run_scenario"]

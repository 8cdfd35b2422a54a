"""Runs jobs: claims one, trains it in a process of its own, relays events, stores results.

app ─► supervisor ─► materialise (data sets, checkpoint, snapshot to a scratch folder)
                  ─► trainer_process ─► child ─► carot.run
                  ─► relay + heartbeat (events, metrics, progress, lease; cancel comes back)
                  ─► results (checkpoint, logits and report, in one transaction)
"""

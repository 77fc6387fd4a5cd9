"""A SLURM cluster: one job with Ray's head and the driver, and workers that come and go.

====================  ============================================================================
``cluster.py``        the cluster file: what a worker and the head's job ask SLURM for
``commands.py``       sinfo, squeue, scontrol, scancel, each with a time limit
``check.py``          the cluster file held against what sinfo says
``jobs.py``           submission through submitit
``snapshot.py``       the code as it was when the sweep was submitted
``folder.py``         the files by which head, workers and people find each other
``allocation.py``     what SLURM gave this job, never the node's
``ray_node.py``       Ray's processes of one node, in a process group of their own
``deadline.py``       when a job has to end, and whether it was asked to
``head.py``           the head's job
``pool.py``           the driver's side: Ray's address, workers wanted
``elastic.py``        how many workers there should be
``worker.py``         a worker's job
====================  ============================================================================
"""

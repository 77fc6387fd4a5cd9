"""Communication of the processes of one trial: collectives and their rendezvous."""

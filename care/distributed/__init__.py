"""What the processes of one trial exchange: collectives and their rendezvous."""

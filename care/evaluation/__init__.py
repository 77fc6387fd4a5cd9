"""What a frozen network is measured by: class and hue readout, rotation, alignment.

Networks run in eval mode without gradients; nothing here draws a random number of its own or leaves
a trace in the network, so the same network gives the same numbers, bit for bit.
"""

"""The main job on real input: a platform of its own, seven chains of events, and a check of everything they did."""

"""Clips: videos and animations, read frame by frame, one face tracked, edited and written again.

`reading` yields upright frames and passes sound on, `tracking` finds one face in them, `smoothing`
steadies its points, `editing` edits them (`edit_clip`), `writing` stores them. No module holds more
than a few frames of a clip in memory.
"""

from ganmut import faces as faces  # it imports modules of this package: a circle unless it is first

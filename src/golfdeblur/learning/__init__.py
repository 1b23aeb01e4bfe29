"""Everything that needs torch: networks, blur synthesis, data, training and export."""

from golfdeblur import offline

offline.silence()

"""Everything that needs torch: networks, blur synthesis, data, training and export."""

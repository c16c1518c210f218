"""Remote rasters: headers, ranges, blocks, and the warp onto a chip's grid."""

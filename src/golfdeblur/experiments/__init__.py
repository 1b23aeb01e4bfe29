"""The experiments of "A Deep Optimization Approach for Image Deconvolution", one module each."""

from golfdeblur import offline

offline.matplotlib()

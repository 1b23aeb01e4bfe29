"""The experiments of "A Deep Optimization Approach for Image Deconvolution", one module each."""

"""What tests, demo and benchmarks share: servers, proxies, waiting, raw protocol clients."""

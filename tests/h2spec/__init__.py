"""h2spec (https://github.com/summerwind/h2spec), the conformance suite of HTTP/2, against `perdure server`."""

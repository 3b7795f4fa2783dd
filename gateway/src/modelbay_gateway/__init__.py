"""The gateway: one endpoint over every provider of a `Host`, in the protocols programs know.

Where to read on: `app` puts the parts together, `bay` is what every route may use, `call` is one
request, `answer` is one stream on its way out, `surface` is what a protocol has to bring.
"""

"""The ASGI application: routes, middleware, authorization and error responses."""

"""The routers of both inference protocols."""

from service.routes import (
    inference_v1,
    inference_v1_models,
    inference_v2,
    inference_v2_models,
    inference_v2_repository,
)

ROUTERS = (
    inference_v2.router,
    inference_v2_models.router,
    inference_v2_repository.router,
    inference_v1.router,
    inference_v1_models.router,
)

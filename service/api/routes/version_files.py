"""A version's files over HTTP: its weights, the same as ONNX, its card and pictures."""

from fastapi import APIRouter, Response

from service.api.dependencies import NamePath, ServicesDep, VersionPath
from service.errors import NotFound
from training import TrainingError
from training.export.onnx import to_onnx

router = APIRouter(prefix="/models/{name}/versions/{version}", tags=["models"])


_BYTES = "application/octet-stream"
_TYPES = {"md": "text/markdown; charset=utf-8", "svg": "image/svg+xml", "png": "image/png"}
_NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # an SVG can hold more than a picture


@router.get("/weights.npz", response_class=Response, responses={200: {"content": {_BYTES: {}}}})
def get_weights(name: NamePath, version: VersionPath, services: ServicesDep) -> Response:
    """Download a version's weights; `training.load` reads them, and so does NumPy alone."""
    manifest = services.registry.manifest(name, version)
    headers = {"ETag": f'"{manifest.weights_sha256}"'}
    return Response(services.registry.weights(manifest), media_type=_BYTES, headers=headers)


@router.get("/model.onnx", response_class=Response, responses={200: {"content": {_BYTES: {}}}})
def get_onnx(name: NamePath, version: VersionPath, services: ServicesDep) -> Response:
    """Download a version as an ONNX graph, for other runtimes; 404 where the service is installed without `onnx`.

    It takes features, float32 (n, inputs), and gives the network's outputs, before the manifest's temperature.
    """
    loaded = services.registry.load(name, version)
    try:
        content = to_onnx(loaded.network, loaded.manifest.labels)
    except TrainingError as error:
        raise NotFound(str(error)) from None
    return Response(content, media_type=_BYTES, headers={"ETag": f'"{loaded.manifest.weights_sha256}-onnx"'})


@router.get("/{file}", response_class=Response, responses={200: {"content": {kind: {} for kind in _TYPES.values()}}})
def get_file(name: NamePath, version: VersionPath, file: str, services: ServicesDep) -> Response:
    """Download a version's `card.md` or one of its pictures; the version's `files` tell what there is."""
    content = services.registry.file(name, version, file)
    headers = {"Content-Security-Policy": _NO_SCRIPTS, "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=_TYPES[file.rpartition(".")[2]], headers=headers)

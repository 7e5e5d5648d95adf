"""The baseline: FastAPI with an UploadFile and a response model."""

from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

from benchmarks.servers.reading import read


class Prediction(BaseModel):
    """The answer."""

    label: str
    confidence: float
    probabilities: dict[str, float]


app = FastAPI()


@app.post("/predict")
async def predict(file: UploadFile) -> Prediction:
    """Read the digit."""
    return Prediction(**read(await file.read()))

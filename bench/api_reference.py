"""What the API is compared with: the same framework answering one indexed row of the same database."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import text

from models.session import Database


def create(url: str) -> FastAPI:
    """An application with one route, which reads the name of a problem set by its id."""
    app, database = FastAPI(), Database(url)

    @app.get("/row/{row_id}")
    def row(row_id: str) -> dict[str, Any]:
        with database.read() as session:
            found = session.execute(text("SELECT id, name FROM problem_sets WHERE id = :id"), {"id": row_id}).one()
        return {"id": found.id, "name": found.name}

    return app


if __name__ == "__main__":
    uvicorn.run(create(sys.argv[1]), port=int(sys.argv[2]), log_level="warning", access_log=False)

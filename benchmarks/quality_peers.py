"""The peers of quality.py: each learns from one table and says how likely the other rows are to be won.

    python quality_peers.py PEER TASK.json

Runs in the peers' own environment. The task is that of `Task`; `out` becomes a Parquet file of `lead_id`,
`order` and `probability`, one row for each row outside the parts to learn from. Prints {"cpu", "wall",
"facts"} as JSON: CPU seconds of the whole process and of its children, from its start.
"""

import json
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from measuring import cpu_seconds

ODOO = Path(__file__).parents[1] / "src" / "lead_propensity" / "model" / "odoo.py"
MOST_LEVELS = 254
"""HistGradientBoosting takes no more levels of a category than it has bins."""


@dataclass(frozen=True)
class Task:
    """What a peer is asked."""

    table: str
    """Parquet: `lead_id, group_id, order, part, won` and the features."""
    out: str
    columns: list[str]
    """The features that the peer may see."""
    learn_from: list[str]
    """Parts, in the order of time."""
    seconds: int
    """What FLAML and AutoGluon may take, by the clock."""
    trials: int
    """Of the tuned LightGBM."""
    seed: int


@dataclass(frozen=True)
class Rows:
    """The rows to learn from and those to predict; texts are pandas categories of the levels learned."""

    X: pd.DataFrame
    won: np.ndarray
    group: np.ndarray
    asked: pd.DataFrame
    part: np.ndarray

    @property
    def categories(self) -> list[str]:
        return list(self.X.columns[self.X.dtypes == "category"])

    @property
    def numbers(self) -> list[str]:
        return [name for name in self.X.columns if name not in self.categories]


def constant(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """The rate of all rows to learn from."""
    return np.full(len(rows.asked), rows.won.mean()), {}


def constant_recent(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """The rate of the last part to learn from."""
    last = rows.won[rows.part == task.learn_from[-1]]
    return np.full(len(rows.asked), last.mean()), {}


def odoo(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """Odoo's predictive lead scoring, numbers taken as texts."""
    return _odoo().fit(_texts(rows.X), rows.won).probability(_texts(rows.asked)), {}


def odoo_generous(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """The same with numbers in tenths of the rows to learn from."""
    learned = _odoo().fit(_texts(rows.X), rows.won, binned=True)
    return learned.probability(_texts(rows.asked)), {}


def _odoo() -> Any:
    """The class `Odoo` of our package, which is not installed in this environment: read from its file."""
    spec = spec_from_file_location("odoo", ODOO)
    assert spec is not None, "it is a Python file"
    assert spec.loader is not None, "it is a Python file"
    module = module_from_spec(spec)
    sys.modules["odoo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.Odoo


def logistic(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """L2, its strength by cross-validation; logarithms of long-tailed numbers, rare levels together."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        FunctionTransformer(lambda x: np.sign(x) * np.log1p(np.abs(x))),
        StandardScaler(),
    )
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(missing)"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20),
    )
    table = ColumnTransformer(
        [("n", numbers, rows.numbers), ("t", texts, rows.categories)], sparse_threshold=0
    )
    X = table.fit_transform(_texts(rows.X))
    model = LogisticRegressionCV(
        Cs=np.logspace(-4, 1, 11),
        cv=_folds(X, rows, task),
        scoring="neg_log_loss",
        solver="newton-cholesky",
    )
    model.fit(X, rows.won)
    asked = table.transform(_texts(rows.asked))
    return model.predict_proba(asked)[:, 1], {"C": float(model.C_[0])}


def hist_gradient_boosting(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    learned, asked = rows.X.copy(), rows.asked.copy()
    for name in rows.categories:
        common = list(learned[name].value_counts().index[:MOST_LEVELS])
        for frame in (learned, asked):
            frame[name] = frame[name].cat.set_categories(common)
    model = HistGradientBoostingClassifier(
        categorical_features="from_dtype", random_state=task.seed
    )
    return model.fit(learned, rows.won).predict_proba(asked)[:, 1], {"iterations": model.n_iter_}


def lightgbm_default(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(random_state=task.seed, verbose=-1)
    return model.fit(rows.X, rows.won).predict_proba(rows.asked)[:, 1], {}


def lightgbm_tuned(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    """Optuna over random folds that keep a lead together, rounds by early stopping; refitted on all rows."""
    import lightgbm as lgb
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folds = _folds(rows.X, rows, task)
    fixed = {"objective": "binary", "learning_rate": 0.05, "verbose": -1, "seed": task.seed}

    def loss(trial: Any) -> float:
        chosen = {
            "num_leaves": trial.suggest_int("num_leaves", 4, 128, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 5, 200, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 100, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
            "bagging_freq": 1,
        }
        data = lgb.Dataset(rows.X, rows.won, free_raw_data=False)
        stop = lgb.early_stopping(50, verbose=False)
        found = lgb.cv(fixed | chosen, data, num_boost_round=2000, folds=folds, callbacks=[stop])[
            "valid binary_logloss-mean"
        ]
        trial.set_user_attr("rounds", len(found))
        return float(found[-1])

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=task.seed))
    study.optimize(loss, n_trials=task.trials)
    best = fixed | study.best_params | {"bagging_freq": 1}
    rounds = study.best_trial.user_attrs["rounds"]
    model = lgb.train(best, lgb.Dataset(rows.X, rows.won), num_boost_round=rounds)
    return np.asarray(model.predict(rows.asked)), {"rounds": rounds, **study.best_params}


def catboost(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(
        random_seed=task.seed,
        cat_features=rows.categories,
        verbose=False,
        allow_writing_files=False,
    )
    model.fit(_texts(rows.X).fillna(dict.fromkeys(rows.categories, "(missing)")), rows.won)
    asked = _texts(rows.asked).fillna(dict.fromkeys(rows.categories, "(missing)"))
    return model.predict_proba(asked)[:, 1], {}


def flaml(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    from flaml import AutoML

    model = AutoML()
    model.fit(
        rows.X,
        rows.won.astype(int),
        task="classification",
        metric="log_loss",
        time_budget=task.seconds,
        seed=task.seed,
        verbose=0,
    )
    return model.predict_proba(rows.asked)[:, 1], {"chosen": model.best_estimator}


def autogluon(rows: Rows, task: Task) -> tuple[np.ndarray, dict[str, Any]]:
    from autogluon.tabular import TabularPredictor

    with tempfile.TemporaryDirectory() as folder:
        model = TabularPredictor(
            "won", problem_type="binary", eval_metric="log_loss", path=folder, verbosity=0
        )
        model.fit(rows.X.assign(won=rows.won.astype(int)), time_limit=task.seconds)
        return model.predict_proba(rows.asked)[1].to_numpy(), {"models": model.model_names()}


PEERS = {
    "constant": (constant, "numpy"),
    "constant_recent": (constant_recent, "numpy"),
    "odoo": (odoo, "pandas"),
    "odoo_generous": (odoo_generous, "pandas"),
    "logistic": (logistic, "scikit-learn"),
    "hist_gradient_boosting": (hist_gradient_boosting, "scikit-learn"),
    "lightgbm_default": (lightgbm_default, "lightgbm"),
    "lightgbm_tuned": (lightgbm_tuned, "lightgbm"),
    "catboost": (catboost, "catboost"),
    "flaml": (flaml, "flaml"),
    "autogluon": (autogluon, "autogluon.tabular"),
}
"""Each peer, and the package whose version is told."""


def rows_of(table: pd.DataFrame, task: Task) -> Rows:
    """Columns get plain names: LightGBM takes no commas or brackets in them. Empty ones are left out."""
    learns = table["part"].isin(task.learn_from).to_numpy()
    known = [name for name in task.columns if table[name][learns].notna().any()]
    X = table[known].set_axis([f"f{place}" for place in range(len(known))], axis=1)
    for name in X.columns:
        if not pd.api.types.is_numeric_dtype(X[name]):
            X[name] = pd.Categorical(X[name], categories=sorted(X[name][learns].dropna().unique()))
    keys = table[learns]
    return Rows(
        X=X[learns].reset_index(drop=True),
        won=keys["won"].to_numpy(float),
        group=keys["group_id"].to_numpy(),
        asked=X[~learns].reset_index(drop=True),
        part=keys["part"].to_numpy(),
    )


def _texts(X: pd.DataFrame) -> pd.DataFrame:
    """Categories as texts, missing as NaN."""
    return X.astype(dict.fromkeys(X.columns[X.dtypes == "category"], object))


def _folds(X: Any, rows: Rows, task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
    """Five at random; all rows of one lead (household, company) stand in one of them."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=task.seed)
    return list(splitter.split(np.zeros(X.shape[0]), rows.won, rows.group))


def main() -> None:
    began = time.perf_counter()
    warnings.filterwarnings("ignore")
    name, task = sys.argv[1], Task(**json.loads(Path(sys.argv[2]).read_text()))
    peer, package = PEERS[name]
    table = pd.read_parquet(task.table)
    probability, facts = peer(rows_of(table, task), task)
    asked = table.loc[~table["part"].isin(task.learn_from), ["lead_id", "order"]]
    asked.assign(probability=probability).to_parquet(task.out, index=False)
    taken = {"cpu": cpu_seconds(), "wall": time.perf_counter() - began}
    print(json.dumps({**taken, "facts": {"version": version(package), **facts}}, default=str))


if __name__ == "__main__":
    main()

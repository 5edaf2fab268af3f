"""The metrics against R: survival, Hmisc, pec, cmprsk and riskRegression. Without R these tests skip."""

import numpy as np
import pandas as pd
import pytest

from features.censoring import Outcome
from features.endpoints import COMPLEMENTARY_LOG_LOG, LOG_ODDS, CompetingOutcome
from tests.lib.r import run_r
from training import metrics
from training.bootstrap import BootstrapSamples
from training.goodness_of_fit import a_calibration
from training.smooth_calibration import SmoothCalibration
from training.status import Status

HORIZON = 24.0

SMOOTH = """
u <- if (LINK == "logit") qlogis(d$risk) else log(-log(1 - d$risk))
bend <- rcspline.eval(u, knots = quantile(u, c(.1, .5, .9)))
fit <- glm(d$event ~ u + bend + offset(u), weights = d$weight, family = quasibinomial(LINK),
           control = glm.control(epsilon = 1e-12, maxit = 100))
x <- model.matrix(fit)
score <- x * (fit$weights * residuals(fit, "working"))
information <- crossprod(x, x * fit$weights)
beta <- coef(fit)
wald <- drop(beta %*% information %*% solve(crossprod(score)) %*% information %*% beta)
shrunk <- drop(u + x %*% (beta * max(0, 1 - (length(beta) - 2) / wald)))
out <- data.frame(fitted = fitted(fit), shrunk = binomial(LINK)$linkinv(shrunk))
"""


def survival_case(seed, patients=400, *, wrong=0.3):
    rng = np.random.default_rng(seed)
    hazard = 0.03 * np.exp(rng.normal(0.0, 0.7, patients))
    death, censored = rng.exponential(1.0 / hazard), rng.uniform(1.0, 80.0, patients)
    predicted = 1.0 - np.exp(-HORIZON * hazard * np.exp(wrong))
    return predicted, hazard, Outcome(np.minimum(death, censored), death <= censored)


def competing_case(seed, patients=400, *, wrong=0.3):
    rng = np.random.default_rng(seed)
    one, two = 0.02 * np.exp(rng.normal(0.0, 0.8, patients)), np.full(patients, 0.015)
    waits = np.column_stack([rng.exponential(1.0 / h) for h in (one, two)] + [rng.uniform(1, 80, patients)])
    truth = one / (one + two) * (1.0 - np.exp(-HORIZON * (one + two)))
    outcome = CompetingOutcome(waits.min(axis=1), np.array([1, 2, 0])[waits.argmin(axis=1)])
    predicted = 1.0 - (1.0 - truth) ** np.exp(wrong)
    return predicted, truth, outcome


def smoothed(risk, status, link):
    """Return observed risks, as fitted and shrunk, by R."""
    table = pd.DataFrame({"risk": risk, "event": status.event.astype(int), "weight": status.weight})
    found = run_r(f'LINK <- "{link}"\n{SMOOTH}', table, "Hmisc")
    return found["fitted"].to_numpy(), found["shrunk"].to_numpy()


def unshrunk(fit):
    u = np.log(-np.log1p(-fit.risk)) if fit.link != LOG_ODDS else np.log(fit.risk / (1.0 - fit.risk))
    value = u + fit.basis @ fit.coefficients
    return -np.expm1(-np.exp(value)) if fit.link != LOG_ODDS else 1.0 / (1.0 + np.exp(-value))


@pytest.mark.parametrize("case", ["survival", "competing", "binary"])
def test_the_smooth_curve_is_rs_weighted_regression_on_a_restricted_cubic_spline(case):
    if case == "competing":
        risk, _, outcome = competing_case(1)
        status, link, theirs = Status.of_cause(outcome, 1, horizon=HORIZON), COMPLEMENTARY_LOG_LOG, "cloglog"
    elif case == "survival":
        risk, _, outcome = survival_case(2)
        status, link, theirs = Status.by(outcome, horizon=HORIZON), COMPLEMENTARY_LOG_LOG, "cloglog"
    else:
        risk, *_ = survival_case(3)
        status = Status.certain(np.random.default_rng(4).random(len(risk)) < risk**1.4)
        link, theirs = LOG_ODDS, "logit"
    fit = SmoothCalibration.fit(risk, status, link=link)
    fitted, shrunk = smoothed(risk, status, theirs)
    np.testing.assert_allclose(unshrunk(fit), fitted, atol=1e-6)
    np.testing.assert_allclose(fit.observed, shrunk, atol=1e-6)
    found, errors = fit.estimates(BootstrapSamples.once(len(risk))), np.abs(shrunk - risk)
    assert found["ici"].value == pytest.approx(errors.mean(), abs=1e-6)
    assert found["e50"].value == pytest.approx(np.quantile(errors, 0.5), abs=1e-6)
    assert found["e90"].value == pytest.approx(np.quantile(errors, 0.9), abs=1e-6)


@pytest.mark.parametrize("competing", [False, True])
def test_weights_of_known_status_are_pecs(competing):
    if competing:
        *_, outcome = competing_case(5)
        status, duration, event = (
            Status.of_cause(outcome, 1, horizon=HORIZON), outcome.duration, outcome.cause > 0,
        )  # fmt: skip
    else:
        *_, outcome = survival_case(6)
        status, duration, event = (
            Status.by(outcome, horizon=HORIZON), outcome.duration, outcome.event,
        )  # fmt: skip
    table = pd.DataFrame({"time": duration, "event": event.astype(int)}).sort_values("time")
    script = f"""
        w <- ipcw(Surv(time, event) ~ 1, d, method = "marginal", times = {HORIZON}, subjectTimes = d$time)
        gone <- d$time <= {HORIZON} & d$event == 1
        out <- data.frame(w = ifelse(gone, 1 / w$IPCW.subjectTimes, (d$time > {HORIZON}) / w$IPCW.times))
    """
    theirs = run_r(script, table, "survival", "pec")["w"].to_numpy()
    np.testing.assert_allclose(status.weight[table.index], theirs, atol=1e-10)


def test_the_index_of_survival_is_near_austins_by_a_flexible_cox_regression():
    risk, _, outcome = survival_case(7, patients=4000)
    table = pd.DataFrame({"risk": risk, "time": outcome.duration, "event": outcome.event.astype(int)})
    script = f"""
        u <- log(-log(1 - d$risk)); bend <- drop(rcspline.eval(u, nk = 3))
        fit <- coxph(Surv(d$time, d$event) ~ u + bend)
        base <- basehaz(fit, centered = FALSE)
        H <- max(base$hazard[base$time <= {HORIZON}])
        observed <- 1 - exp(-H * exp(cbind(u, bend) %*% coef(fit)))
        error <- abs(observed - d$risk)
        out <- data.frame(ici = mean(error), e50 = median(error), e90 = quantile(error, .9))
    """
    theirs = run_r(script, table, "survival", "Hmisc").iloc[0]
    ours = SmoothCalibration.fit(risk, Status.by(outcome, horizon=HORIZON), link=COMPLEMENTARY_LOG_LOG)
    for name, estimate in ours.estimates(BootstrapSamples.once(len(risk))).items():
        assert estimate.value == pytest.approx(theirs[name], abs=0.015)


def test_the_index_of_a_cause_is_near_austins_by_a_flexible_fine_and_gray_regression():
    risk, _, outcome = competing_case(8, patients=3000)
    table = pd.DataFrame({"risk": risk, "time": outcome.duration, "cause": outcome.cause})
    script = f"""
        u <- log(-log(1 - d$risk)); x <- cbind(u, drop(rcspline.eval(u, nk = 3)))
        fit <- crr(d$time, d$cause, x)
        jumps <- sum(fit$bfitj[fit$uftime <= {HORIZON}])
        error <- abs(1 - exp(-jumps * exp(x %*% fit$coef)) - d$risk)
        out <- data.frame(ici = mean(error), e50 = median(error), e90 = quantile(error, .9))
    """
    theirs = run_r(script, table, "cmprsk", "Hmisc").iloc[0]
    status = Status.of_cause(outcome, 1, horizon=HORIZON)
    ours = SmoothCalibration.fit(risk, status, link=COMPLEMENTARY_LOG_LOG)
    for name, estimate in ours.estimates(BootstrapSamples.once(len(risk))).items():
        assert estimate.value == pytest.approx(theirs[name], abs=0.015)


def test_the_incidence_observed_is_cmprsks():
    *_, outcome = competing_case(9)
    table = pd.DataFrame({"time": np.ceil(outcome.duration), "cause": outcome.cause})
    script = f"""
        at <- timepoints(cuminc(d$time, d$cause), {HORIZON})$est
        out <- data.frame(first = at[1, 1], second = at[2, 1])
    """
    theirs = run_r(script, table, "cmprsk").iloc[0]
    tied = CompetingOutcome(np.ceil(outcome.duration), outcome.cause)
    for cause, name in ((1, "first"), (2, "second")):
        assert metrics.observed_incidence(tied, cause, HORIZON) == pytest.approx(theirs[name], abs=1e-10)


@pytest.mark.parametrize("until", [HORIZON, 60.0])
def test_the_concordance_of_a_cause_is_pecs(until):
    risk, _, outcome = competing_case(10)
    risk = np.round(risk, 2)
    table = pd.DataFrame({"risk": risk, "time": outcome.duration, "cause": outcome.cause})
    script = f"""
        found <- cindex(list(m = matrix(d$risk)), Hist(time, cause) ~ 1, d, cause = 1, eval.times = {until},
                        pred.times = {until}, cens.model = "marginal", verbose = FALSE)
        out <- data.frame(c = found$AppCindex$m)
    """
    theirs = run_r(script, table, "prodlim", "pec").iloc[0]["c"]
    ours = BootstrapSamples.once(len(risk)).competing_concordance(risk, outcome, 1, until=until)[0]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_the_brier_score_of_a_cause_is_risk_regressions():
    risk, _, outcome = competing_case(11)
    table = pd.DataFrame({"risk": risk, "time": outcome.duration, "cause": outcome.cause})
    script = f"""
        found <- Score(list(m = matrix(rep(d$risk, 2), ncol = 2)), Hist(time, cause) ~ 1, d, cause = 1,
                       times = c(12, {HORIZON}), metrics = "brier", null.model = FALSE, se.fit = FALSE,
                       cens.model = "km")
        out <- as.data.frame(found$Brier$score)[, c("times", "Brier")]
    """
    theirs = run_r(script, table, "prodlim", "survival", "riskRegression")["Brier"].to_numpy()
    times = np.array([12.0, HORIZON])
    constant = np.tile(risk[:, None], (1, 2))
    integrated = metrics.incidence_brier(constant, outcome, 1, times).mean()
    assert integrated == pytest.approx(theirs.mean(), abs=1e-10)


def test_events_and_those_expected_in_a_calibrations_cells_are_survivals_person_time():
    _, hazard, outcome = survival_case(12)
    times = np.arange(2.0, 61.0, 2.0)
    survival = np.exp(-np.outer(1.2 * hazard, times))
    seen = np.minimum(outcome.duration, 60.0)
    table = pd.DataFrame(
        {"spent": 1.2 * hazard * seen, "event": (outcome.event & (outcome.duration <= 60.0)).astype(int)}
    )
    script = """
        d$from <- 0
        long <- survSplit(Surv(spent, event) ~ ., d, cut = -log(1 - seq(.1, .9, .1)), episode = "cell")
        expected <- tapply(long$spent - long$tstart, long$cell, sum)
        observed <- tapply(long$event, long$cell, sum)
        stopifnot(all(expected >= 5))
        statistic <- sum((observed - expected)^2 / expected)
        out <- data.frame(statistic, p = pchisq(statistic, length(expected), lower.tail = FALSE))
    """
    theirs, ours = run_r(script, table, "survival").iloc[0], a_calibration(survival, outcome, times)
    assert ours.statistic == pytest.approx(theirs["statistic"], rel=1e-9)
    assert ours.p == pytest.approx(theirs["p"], rel=1e-9)

"""Fitting kernel profiles: only to calibration points, and to what the profiles hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from algorithms.chip.plan.kernels import KernelText, kernel_names, load_kernel
from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from studies.validate.gpu.cases import load_points
from studies.validate.gpu.fit import fit_kernel, main, minimize, with_numbers
from studies.validate.gpu.plans import predict

CALIBRATION = Path(__file__).parents[1] / "data" / "gpu_calibration.json"
POINTS = load_points(CALIBRATION)
FITTED = [name for name in kernel_names() if load_kernel(name).profile.fitted]


class TestHygiene:
    def test_every_point_that_anything_is_fitted_to_is_a_calibration_point(self):
        used = {name for kernel in FITTED for name in load_kernel(kernel).text.calibration}
        assert used <= {point.id for point in POINTS if point.split == "calibrate"}

    @pytest.mark.parametrize("name", ["flashmla_hopper", "stream_nvidia", "tileops_decode_hopper"])
    def test_profiles_hold_what_the_script_finds(self, name):
        kernel = load_kernel(name)
        assert fit_kernel(kernel, POINTS) == pytest.approx(kernel.text.fitted, rel=0.01, abs=1e-9)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", FITTED)
    def test_all_profiles_hold_what_the_script_finds(self, name):
        kernel = load_kernel(name)
        assert fit_kernel(kernel, POINTS) == pytest.approx(kernel.text.fitted, rel=0.01, abs=1e-7)

    @pytest.mark.parametrize("name", ["tileops_decode_hopper", "flash_decoding_ampere"])
    def test_as_many_numbers_as_points_are_met(self, name):
        kernel = load_kernel(name)
        used = [point for point in POINTS if point.id in kernel.text.calibration]
        assert len(used) == len(kernel.text.calibration) > 0
        for point in used:
            assert predict(point).microseconds == pytest.approx(point.measured_us, rel=0.01)

    def test_a_point_that_is_scored_is_refused(self):
        kernel = load_kernel("flashmla_hopper")
        scored = [point.model_copy(update={"split": "validate"}) for point in POINTS]
        with pytest.raises(InputError, match="is for scoring, not for calibration"):
            fit_kernel(kernel, scored)
        with pytest.raises(InputError, match="has no point 'flashmla1-h100"):
            fit_kernel(kernel, [])


class TestSearch:
    def search(self, errors, start, low, high):
        arrays = [np.array(each, dtype=float) for each in (start, low, high)]
        return minimize(lambda numbers: np.array(errors(*numbers)), *arrays, np.ones(len(start)))

    def test_two_equations(self):
        found = self.search(lambda a, b: (a * b - 6, a + b - 5), (1.0, 4.5), (0, 0), (10, 10))
        assert sorted(found) == pytest.approx([2, 3], abs=1e-4)

    def test_numbers_stay_within_their_bounds(self):
        found = self.search(lambda a, b: (a + b - 1, b - 3), (1.0, 1.0), (0, 0), (10, 10))
        assert found == pytest.approx([0, 2], abs=1e-4)

    def test_a_start_on_a_bound_may_leave_it(self):
        assert self.search(lambda a: (a - 2,), (0.0,), (0,), (5,)) == pytest.approx([2], abs=1e-4)


class TestScript:
    def test_only_the_numbers_of_a_file_change(self):
        text = "# why\nname: a\nfitted: {launch_gap_s: 1.0, matrix_fraction: 0.5}\ncalibration: [x]\n"
        changed = with_numbers(text, {"launch_gap_s": 2.5e-06, "matrix_fraction": 0.25})
        assert changed == text.replace("1.0", "2.5e-06").replace("0.5", "0.25")

    def test_numbers_written_are_numbers_read(self):
        text = "name: a\nsummary: s\nsource: s\nkinds: []\nkernels: []\nchips: []\nalgorithm: x\nfitted: {}\n"
        changed = with_numbers(text, {"launch_gap_s": 3.213e-06})
        assert read_text(changed, "a.yaml").validate(KernelText).fitted == {"launch_gap_s": 3.213e-06}

    def test_command(self, capsys):
        assert main(["stream_nvidia", "--cases", str(CALIBRATION)]) == 0
        assert capsys.readouterr().out.startswith("stream_nvidia: bandwidth_fraction 0.8")

    def test_bad_input_is_one_line(self, capsys, tmp_path):
        assert main(["stream", "--cases", str(CALIBRATION)]) == 2
        assert "did you mean 'stream_nvidia'" in capsys.readouterr().err
        assert main(["--cases", str(tmp_path / "none.json")]) == 2

"""A trace can be read with h5py.

    trace_test.py PROGRAM

Exits with 77, which CTest counts as skipped, where there is no h5py.
"""

import os
import subprocess
import sys
import tempfile

try:
    import h5py
except ImportError:
    # Debian's h5py is of Debian's Python, which need not be the first one.
    debian = "/usr/bin/python3"
    if sys.executable != debian and os.path.exists(debian):
        os.execv(debian, [debian, *sys.argv])
    print("SKIPPED: no Python module h5py; install python3-h5py")
    sys.exit(77)


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "trace.h5")
        subprocess.run([program, file], check=True)
        with h5py.File(file) as trace:
            check(trace)


def check(trace):
    facts = dict(trace.attrs)
    assert facts.pop("format").decode() == "fusionllm trace 1"
    assert facts.pop("run").decode() == "é"
    assert facts.pop("stage") == b"1"
    assert facts.pop("none") == b""
    assert not facts, facts

    assert list(trace) == ["h.1.mlp.residual"]
    value = trace["h.1.mlp.residual"]
    assert sorted(value) == ["activation", "gradient"]
    data = value["gradient/data"]
    assert data.shape == (3, 2, 3) and data.dtype == "<f4"
    assert data.compression == "gzip" and data.shuffle and data.chunks
    assert data[:, 0, 0].tolist() == [1, 2, 3]
    assert data[2].tolist() == [[3, 0, 0], [0, 0, -2.5]]

    records = value["activation/records"]
    assert records.shape == (3,)
    assert records.dtype.names == (
        "step", "micro_batch", "min", "max", "mean", "rms", "zero_fraction",
        "kurtosis", "num_non_finite")
    assert records["step"].tolist() == [1, 2, 3]
    assert records["micro_batch"].tolist() == [0, 0, 0]
    assert records["max"].tolist() == [1, 2, 3]
    assert records["zero_fraction"].tolist() == [4 / 6] * 3
    for record, tensor in zip(records[:], value["activation/data"][:]):
        assert abs(record["mean"] - tensor.mean()) < 1e-6
        rms = (tensor.astype("f8") ** 2).mean() ** 0.5
        assert abs(record["rms"] - rms) < 1e-12


if __name__ == "__main__":
    main(sys.argv[1])

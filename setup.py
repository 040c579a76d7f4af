"""Packages and dependencies of currents-to-mixpanel; also what Beam workers install (``--setup_file``)."""

from setuptools import find_packages, setup

_S3 = ["boto3>=1.36"]
_AZURE = ["azure-identity>=1.16", "azure-storage-blob>=12.28"]
# What submission imports of Beam's own extra gcp, which would bring sixty packages to every worker.
_DATAFLOW = ["google-auth-httplib2>=0.1,<0.3", "google-cloud-dataflow-client>=0.13,<0.14"]

setup(
    name="currents-to-mixpanel",
    version="0.1.0",
    description="Braze Currents exports to Mixpanel imports, with anonymous history joined to known users",
    python_requires=">=3.10,<3.14",
    py_modules=["currents_to_mixpanel"],
    packages=find_packages(include=["pipelines*", "transforms*"]),
    package_data={"transforms.currents": ["catalog.json"], "transforms": ["py.typed"], "pipelines": ["py.typed"]},
    install_requires=[
        "apache-beam==2.77.0",
        "arro3-core>=0.9,<0.10",
        "arro3-io>=0.9,<0.10",
        "cramjam>=2.11",
        "datafusion>=55,<56",
        "fastavro>=1.10",
        "google-cloud-storage>=3.0",
        "isal>=1.8,<2",
        "numpy>=1.26",
        "orjson>=3.10",
        "psutil>=6.0",
        "pyarrow>=18",
        "scipy>=1.11",
        "zstandard>=0.23",
    ],
    extras_require={
        "s3": _S3,
        "azure": _AZURE,
        "dataflow": _DATAFLOW,
        "all": [*_S3, *_AZURE, *_DATAFLOW],
        "test": [
            *_S3,
            *_AZURE,
            *_DATAFLOW,
            "backports.zstd; python_version < '3.14'",
            "hypothesis>=6.100",
            "moto[server]>=5.0",
            "mypy>=1.14",
            "polars>=2.0",
            "pytest>=8.0",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "selenium>=4.25",
            "setuptools>=65",
        ],
        "benchmark": ["aiohttp>=3.9", "polars>=2.0"],
    },
    entry_points={
        "console_scripts": [
            "currents-to-mixpanel=currents_to_mixpanel:job",
            "currents-sample-export=currents_to_mixpanel:sample_export",
        ]
    },
)

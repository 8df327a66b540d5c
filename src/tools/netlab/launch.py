"""The environment in which mpirun starts ranks at their sites."""

from netlab.lab import FOLDER, SITE_EXEC

# Open MPI 4: what would be --mca NAME VALUE. The ranks have the interfaces
# wan0, which is shaped, and mgmt0 for the launcher.
OPEN_MPI = {
    "plm": "rsh",
    "plm_rsh_agent": str(SITE_EXEC),
    "plm_rsh_no_tree_spawn": "1",
    "ras": "^slurm",
    "orte_default_hostfile": str(FOLDER / "hostfile"),
    "orte_tmpdir_base": str(FOLDER / "tmp"),
    "oob_tcp_if_include": "mgmt0",
    "hwloc_base_binding_policy": "none",
    "rmaps_base_mapping_policy": "slot",  # rank i is device i
    "rmaps_base_oversubscribe": "1",
    "mpi_yield_when_idle": "1",
    "btl": "self,vader,tcp",
    "btl_tcp_if_include": "wan0",
    # Without these UCX is not taken where there is no InfiniBand.
    "pml_ucx_tls": "any",
    "pml_ucx_devices": "any",
}
UCX = {"UCX_TLS": "self,sm,tcp", "UCX_NET_DEVICES": "wan0"}
ALLOW_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1",
              "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
DEFAULT_PML = "ob1"


def environment(given):
    """Variables for mpirun; those that `given` has already stay."""
    ours = {f"OMPI_MCA_{key}": value for key, value in OPEN_MPI.items()}
    ours["OMPI_MCA_pml"] = DEFAULT_PML
    ours.update(UCX, **ALLOW_ROOT, TMPDIR=str(FOLDER / "tmp"))
    return {key: value for key, value in ours.items()
            if key not in given or key == "TMPDIR"}

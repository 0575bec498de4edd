# A user's service: its folder, and the generated package of its workspace.
ARG PARENT
FROM ${PARENT}
ARG PYTHON
ARG FOLDER
# What does not change with the code comes first: an engine keeps those steps.
WORKDIR /app/${FOLDER}
CMD ["python", "main.py"]
USER root
COPY lib/ /opt/draft/lib/python${PYTHON}/site-packages/
COPY app/ /app/${FOLDER}/
# A main.py that cannot be compiled fails here, not on a host; other files may be templates.
RUN python -m py_compile main.py \
 && { python -m compileall -q . /opt/draft/lib || true; }
USER 10001:10001

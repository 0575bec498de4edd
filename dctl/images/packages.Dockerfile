# Unpacked Python packages, compiled here because the user of a container may not write to them.
ARG PARENT
FROM ${PARENT}
ARG PYTHON
USER root
COPY lib/ /opt/draft/lib/python${PYTHON}/site-packages/
COPY bin/ /opt/draft/bin/
# Some packages carry templates named *.py that nothing can compile.
RUN python -m compileall -q -j 0 /opt/draft/lib || true
USER 10001:10001

# A base image with Python -> a virtual environment of our own, and a user who owns nothing in it.
ARG PARENT
FROM ${PARENT}
USER root
# Lines instead of useradd, which not every base has. The user's home is for volumes: a named
# volume that is mounted there becomes the user's.
RUN python3 -m venv --without-pip /opt/draft \
 && echo 'draft:x:10001:10001:Draft:/var/lib/draft:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'draft:x:10001:' >> /etc/group \
 && mkdir -p /var/lib/draft && chown 10001:10001 /var/lib/draft
ENV PATH=/opt/draft/bin:$PATH
WORKDIR /var/lib/draft
USER 10001:10001

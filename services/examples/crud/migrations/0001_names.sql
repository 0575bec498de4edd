-- Ids are given by the service, so that both databases can have them.
create table names (
  id text primary key,
  first_name text not null,
  last_name text not null
);

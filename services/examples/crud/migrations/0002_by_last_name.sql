create index names_by_last_name on names (last_name, first_name);

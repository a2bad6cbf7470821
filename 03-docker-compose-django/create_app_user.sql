-- What PostgreSQL's entrypoint runs once, in production, when it has made the data folder: the application's user owns its
-- database and nothing more. The password comes from a file, as get_config reads it, and never stands on a command line.
\getenv user APP_USER
\getenv database APP_DB
\set password `head -n 1 /run/secrets/POSTGRES_PASSWORD | tr -d '\r'`
-- Over the network nobody is superuser any more; inside, `psql` as the system user postgres needs no password.
ALTER ROLE postgres PASSWORD NULL;
CREATE ROLE :"user" LOGIN PASSWORD :'password';
-- Last, because the health check asks for it: whatever interrupts this, a healthy database has all of the above.
CREATE DATABASE :"database" OWNER :"user";

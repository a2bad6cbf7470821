-- Creates the application's user and its database. The image runs this once, when the data
-- folder is empty. The user owns its database, and is no superuser.
\getenv user APP_USER
\getenv database APP_DB
\set password `head -n 1 /run/secrets/POSTGRES_PASSWORD | tr -d '\r'`

-- No login as superuser over the network. In the container, psql needs no password
ALTER ROLE postgres PASSWORD NULL;
CREATE ROLE :"user" LOGIN PASSWORD :'password';

-- Last, because the health check asks for it: a healthy database has all of the above
CREATE DATABASE :"database" OWNER :"user";

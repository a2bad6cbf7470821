-- What `make db-password` runs in backend: the application's user gets the password that is in secrets.txt now. In production
-- that user is APP_USER, and the password comes as a file.
\getenv user POSTGRES_USER
\getenv user APP_USER
\getenv password POSTGRES_PASSWORD
\getenv file POSTGRES_PASSWORD_FILE
\if :{?file}
  \set password `head -n 1 "$POSTGRES_PASSWORD_FILE" | tr -d '\r'`
\endif
ALTER ROLE :"user" PASSWORD :'password';

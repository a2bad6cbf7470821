#!/bin/sh
# Makes a project of your own out of this folder: sh new.sh shop [FOLDER]
# It takes the files as they are now, committed or not, without those that git ignores.
# `make new NAME=shop` runs it.
set -e
unset CDPATH
export LC_ALL=C NAME="$1"
refuse() { echo "error: $1" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd -P)
top=$(dirname "$here")
folder=${2:-$(dirname "$top")/$NAME}
folder=${folder%/}

case $NAME in
  '') refuse "the project needs a name: make new NAME=shop" ;;
  [!a-z]*) refuse "the name '$NAME' must begin with a letter from a to z" ;;
  *[!a-z0-9_]*) refuse "the name '$NAME' may contain only a-z, 0-9 and _" ;;
  *_ | *__*) refuse "the name '$NAME' may not end in _ or contain __" ;;
  postgres | public | none | template[01] | pg_*)
    refuse "PostgreSQL uses the name '$NAME' itself" ;;
  backend | frontend | proxy | worker)
    refuse "the name '$NAME' is that of a service in the Compose files" ;;
  static | media | templates | locale)
    refuse "the name '$NAME' is that of a folder in the project" ;;
  psycopg* | axes | daphne | magic | people | news | \
    production | manage | init | health | serve | check_settings)
    refuse "the name '$NAME' is that of a Python module in the project" ;;
esac
if grep -q "^$NAME==" "$here/requirements.txt" "$here/production/requirements.txt"; then
  refuse "the name '$NAME' is that of a Python package in the project"
fi
# Without Python on this computer, nothing checks this
python3 -c 'import keyword, sys
names = {*getattr(sys, "stdlib_module_names", ()), *keyword.kwlist}
sys.exit(3 if sys.argv[1] in names else 0)' "$NAME" 2> /dev/null || [ $? != 3 ] ||
  refuse "the name '$NAME' is a word or a module of Python itself"
[ ! -e "$folder" ] || refuse "$folder exists: choose another FOLDER or NAME"

# Until all is done, the project has another name. After an error, nothing is left
mkdir "$folder.new"
new=$(cd "$folder.new" && pwd -P)
trap 'rm -rf "$new"' EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM
case $new in
  "$top"/*) refuse "$folder is inside this repository: choose another FOLDER" ;;
esac

# Copy this folder. In the new repository no file is known yet, so git lists all of them
git init -q "$new"
cd "$here"
exclude=$(git rev-parse --path-format=absolute --git-path info/exclude 2> /dev/null) ||
  true
[ -f "$exclude" ] || exclude=/dev/null
git --git-dir="$new/.git" --work-tree="$top" -c core.quotePath=off \
  ls-files --others --exclude-standard --exclude-from="$exclude" . > "$new/.git/files"
tar -cf "$new/.git/files.tar" -T "$new/.git/files"
tar -xof "$new/.git/files.tar" -C "$new"
cd "$new"
rm .git/files .git/files.tar new.sh
cp "$top/.editorconfig" "$top/.gitattributes" "$top/LICENSE" "$top/secrets.example" .

# The README of the copy, with some sections of this folder's
perl -ne '$on = /Daily work|Two clones|A new major version|Error messages/ if /^## /;
  print if $on;' README.md >> new/README.md
mv new/README.md new/.gitignore new/.ruff.toml new/.github .
rm -r new
mv codesolid_demo src
mv src/codesolid_demo "src/$NAME"

# Two ports that are free now, at random, so that two projects seldom have the same
perl -MIO::Socket::INET -e '
  print "# The ports of this computer. Docker Compose reads this file\n";
  for my $key ("PORT", "DB_PORT") {
    do { $port = 8100 + int rand 900 } until $used{$key} = IO::Socket::INET->new(
      LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 1);
    print "$key=$port\n";
  }' > .env
PORT=$(sed -n 's/^PORT=//p' .env)
export PORT

# Rename the package, the containers, the database and both Compose projects
find . -name .git -prune -o -type f -exec perl -pi -e '
  s{codesolid_demo/codesolid_demo}{src/$ENV{NAME}}g;
  s{codesolid_demo(?=/|:/| \.$|$)}{src}g;
  s{codesolid_demo|\bappname}{$ENV{NAME}}g;
  s{django-production}{$ENV{NAME}-production}g;
  s{03-docker-compose-django}{$ENV{NAME}};
  s{DJANGO_NAME:-django}{DJANGO_NAME:-$ENV{NAME}};
  s{"/django"|(?<=container )django(?= exited| is unhealthy)}{$& =~ s/django/$ENV{NAME}/r}ge;
  s/^.*differs from 01-docker-flask.*\n//;
  s/# The tutorial.s commands\./# Commands for this project./;
  s/^The tutorial.s useful commands\./More commands./;
  s/ The tutorial.s md5 works, too\.//;' {} +
perl -pi -e 's{\bshop(?![a-z0-9])}{$ENV{NAME}}g; s{localhost:8095}{localhost:$ENV{PORT}}g' \
  README.md .ruff.toml .github/workflows/* recipes/*

# What is in the folder above is in this folder now
perl -pi -e 's{(?<!\.)\.\./secrets}{secrets}g; s{("\$0"\))/\.\.}{$1}' \
  README.md docker-compose.yaml make-secrets.sh
perl -0777 -pi -e 's{^#[^\n]*\nnew:.*\n(?:\t.*\n)+}{}m; s{^(\.PHONY:.*) new\b}{$1}m;
  s{\n#[^\n]*\n-include [^\n]*engine\.mk\n}{}' Makefile production/Makefile

# Each project has a key of its own in development, as `django-admin startproject` makes it
key=$(tr -dc a-z0-9 < /dev/urandom | head -c 50)
perl -pi -e "s/django-insecure-[^']*/django-insecure-$key/" "src/$NAME/settings.py"

cat >> "src/$NAME/settings.py" << END

# A browser sends the cookies of localhost to all ports. With these names, a login here
# doesn't end the login in another project, or in this one's production
SESSION_COOKIE_NAME = '${NAME}_sessionid' + ('_dev' if DEBUG else '')
CSRF_COOKIE_NAME = '${NAME}_csrftoken' + ('_dev' if DEBUG else '')
END
sh make-secrets.sh

# The first commit. Without a name and an address of yours, git gets made-up ones
git symbolic-ref HEAD refs/heads/main
git add -A
set --
git var GIT_COMMITTER_IDENT > /dev/null 2>&1 ||
  set -- -c user.name="$NAME" -c user.email="$NAME@example.com"
git "$@" -c core.hooksPath=/dev/null -c commit.gpgSign=false commit -qm "Create $NAME"
mv "$new" "${new%.new}"
printf 'Created %s. Next:\n  cd "%s"\n  make up\n' "$NAME" "${new%.new}"
echo "For a user model of your own, follow recipes/user-model.md before make up."

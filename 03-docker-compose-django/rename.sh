#!/bin/sh
# Renames the Python package, the container and production's project in your copy of this
# folder. Usage: sh rename.sh shop
set -e
cd "$(dirname "$0")"
name=$1
case $name in
  '' | [!a-z]* | *[!a-z0-9_]* | data* | django)
    echo "error: '$name' cannot be the name: use a-z, 0-9, _, and not data or django" >&2
    exit 1 ;;
esac
if [ ! -d codesolid_demo ] || [ -e "$name" ]; then
  echo "error: there is no codesolid_demo, or there is $name: sh rename.sh NAME" >&2
  exit 1
fi

# Change the text first. If you interrupt this, run it again
for file in ../secrets.example ../secrets/secrets.txt; do
  [ ! -f $file ] || perl -pi -e "s/codesolid_demo/$name/g" $file
done
find . \( -name data -o -name secrets -o -name backups -o -name rename.sh \) -prune -o \
  -type f ! -name .env \
  -exec grep -Eq 'codesolid_demo|django-production|:-django[}]' {} \; \
  -exec perl -pi -e "s/codesolid_demo/$name/g; s/django-production/$name-production/g;
    s/:-django}/:-$name}/g" {} \;
cd codesolid_demo
[ ! -d codesolid_demo ] || mv codesolid_demo "$name"
cd ..
mv codesolid_demo "$name"
echo "Renamed to $name."

-- Writers that are writing nothing now; MariaDB and MySQL spell what follows differently.
SELECT id FROM writers

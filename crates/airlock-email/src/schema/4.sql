-- What the folder was like when it was last as the server has it: where all of it is still the
-- same, nothing is asked. Unset where something is missing here.
ALTER TABLE sync_state ADD COLUMN uid_next INTEGER;
ALTER TABLE sync_state ADD COLUMN mod_seq INTEGER;
-- What a folder is for, as the server says it (RFC 6154): `\Sent`. UIDs below zero in
-- `message_places` are of an earlier UIDVALIDITY: kept until all of the folder is fetched again.
ALTER TABLE folders ADD COLUMN special_use TEXT;
-- Certificates of authorities, in PEM, that an account's servers may be of.
ALTER TABLE account_settings ADD COLUMN authorities TEXT;
-- Where tokens for an account come from (JSON). The secrets of it are kept elsewhere.
ALTER TABLE account_settings ADD COLUMN oauth TEXT;

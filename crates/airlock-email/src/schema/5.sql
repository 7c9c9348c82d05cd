-- Which plugin sends a message; none where its user does. What plugins send is counted.
ALTER TABLE outbox_mail ADD COLUMN plugin TEXT;

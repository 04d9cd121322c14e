-- The funnels, counted once at publishing. The variable `zone` is the time zone of `day`.
--
-- Days: an instant is first counted by the quarter of an hour, because every zone's offset is a whole number of them, and
-- only the quarters are turned into dates (a million conversions take a second, some thousand nothing).

CREATE TEMP TABLE counted AS
SELECT campaign, step, 'planned' AS what, epoch_us(planned_at) // 900000000 AS quarter, count(*) AS n
FROM messages GROUP BY ALL
UNION ALL
SELECT campaign, step, 'accepted', epoch_us(coalesce(accepted_at, sent_at, delivered_at, read_at)) // 900000000, count(*)
FROM messages
WHERE accepted_at IS NOT NULL OR sent_at IS NOT NULL OR delivered_at IS NOT NULL OR read_at IS NOT NULL GROUP BY ALL
UNION ALL
SELECT campaign, step, 'delivered', epoch_us(coalesce(delivered_at, read_at)) // 900000000, count(*)
FROM messages WHERE delivered_at IS NOT NULL OR read_at IS NOT NULL GROUP BY ALL
UNION ALL
SELECT campaign, step, 'read', epoch_us(read_at) // 900000000, count(*)
FROM messages WHERE read_at IS NOT NULL GROUP BY ALL
UNION ALL
SELECT campaign, step, 'failed', epoch_us(coalesce(failed_at, attempted_at, planned_at)) // 900000000, count(*)
FROM messages WHERE state = 'failed' GROUP BY ALL
UNION ALL
SELECT campaign, step, 'unknown', epoch_us(coalesce(attempted_at, planned_at)) // 900000000, count(*)
FROM messages WHERE state = 'unknown' GROUP BY ALL
UNION ALL
SELECT campaign, step, 'skipped', epoch_us(skipped_at) // 900000000, count(*)
FROM skips GROUP BY ALL
UNION ALL
SELECT campaign, NULL, 'entered', epoch_us(entered_at) // 900000000, count(*)
FROM participants WHERE state <> 'control' GROUP BY ALL
UNION ALL
-- Arrivals: everyone stands at, or left from, the last step reached; every earlier one has a move that went on from it.
SELECT campaign, step, 'arrived', NULL, count(*)
FROM participants WHERE state <> 'control' GROUP BY ALL
UNION ALL
SELECT campaign, from_step, 'arrived', NULL, count(*)
FROM participant_steps WHERE to_step <> 'end' GROUP BY ALL;

CREATE TEMP TABLE answers AS
SELECT DISTINCT campaign, step, contact_id, (replied_at AT TIME ZONE getvariable('zone'))::DATE AS day
FROM replies WHERE campaign IS NOT NULL AND NOT late AND kind <> 'reaction';

CREATE TEMP TABLE taps AS
SELECT DISTINCT campaign, step, contact_id, (clicked_at AT TIME ZONE getvariable('zone'))::DATE AS day FROM clicks;

CREATE TEMP TABLE days AS
SELECT quarter, (make_timestamptz(quarter * 900000000) AT TIME ZONE getvariable('zone'))::DATE AS day
FROM (SELECT DISTINCT quarter FROM counted WHERE quarter IS NOT NULL);

DELETE FROM counted WHERE campaign IS NULL;  -- what people sent by hand is in no funnel; its costs need its days

INSERT INTO campaign_funnel BY NAME
SELECT
    campaign,
    sum(if(what = 'entered', n, 0)) AS entered,
    sum(if(what = 'planned', n, 0)) AS planned,
    sum(if(what = 'skipped', n, 0)) AS skipped,
    sum(if(what = 'accepted', n, 0)) AS accepted,
    sum(if(what = 'delivered', n, 0)) AS delivered,
    sum(if(what = 'read', n, 0)) AS read,
    sum(if(what = 'replied', n, 0)) AS replied,
    sum(if(what = 'clicked', n, 0)) AS clicked,
    sum(if(what = 'failed', n, 0)) AS failed,
    sum(if(what = 'unknown', n, 0)) AS unknown
FROM (
    SELECT campaign, what, n FROM counted
    UNION ALL
    SELECT campaign, 'replied', count(DISTINCT contact_id) FROM answers GROUP BY ALL
    UNION ALL
    SELECT campaign, 'clicked', count(DISTINCT contact_id) FROM taps GROUP BY ALL
)
GROUP BY campaign ORDER BY campaign;

INSERT INTO step_funnel BY NAME
SELECT
    campaign,
    step,
    sum(if(what = 'arrived', n, 0)) AS entered,
    sum(if(what = 'planned', n, 0)) AS planned,
    sum(if(what = 'skipped', n, 0)) AS skipped,
    sum(if(what = 'accepted', n, 0)) AS accepted,
    sum(if(what = 'delivered', n, 0)) AS delivered,
    sum(if(what = 'read', n, 0)) AS read,
    sum(if(what = 'replied', n, 0)) AS replied,
    sum(if(what = 'clicked', n, 0)) AS clicked,
    sum(if(what = 'failed', n, 0)) AS failed,
    sum(if(what = 'unknown', n, 0)) AS unknown
FROM (
    SELECT campaign, step, what, n FROM counted WHERE step IS NOT NULL
    UNION ALL
    SELECT campaign, step, 'replied', count(DISTINCT contact_id) FROM answers WHERE step IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT campaign, step, 'clicked', count(DISTINCT contact_id) FROM taps GROUP BY ALL
)
GROUP BY campaign, step ORDER BY campaign, step;

INSERT INTO campaign_daily BY NAME
SELECT
    campaign,
    day,
    sum(if(what = 'entered', n, 0)) AS entered,
    sum(if(what = 'planned', n, 0)) AS planned,
    sum(if(what = 'skipped', n, 0)) AS skipped,
    sum(if(what = 'accepted', n, 0)) AS accepted,
    sum(if(what = 'delivered', n, 0)) AS delivered,
    sum(if(what = 'read', n, 0)) AS read,
    sum(if(what = 'replied', n, 0)) AS replied,
    sum(if(what = 'clicked', n, 0)) AS clicked,
    sum(if(what = 'failed', n, 0)) AS failed,
    sum(if(what = 'unknown', n, 0)) AS unknown
FROM (
    SELECT campaign, day, what, n FROM counted JOIN days USING (quarter)
    UNION ALL
    SELECT campaign, day, 'replied', count(DISTINCT contact_id) FROM answers GROUP BY ALL
    UNION ALL
    SELECT campaign, day, 'clicked', count(DISTINCT contact_id) FROM taps GROUP BY ALL
)
GROUP BY campaign, day ORDER BY campaign, day;
